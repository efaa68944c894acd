// SPDX-License-Identifier: Apache-2.0
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "check.h"
#include "crc32.h"
#include "line_buffer.h"
#include "meaning.h"
#include "protocol.h"
#include "vectors.h"

namespace {

std::vector<std::string> lines_of(protocol::LineBuffer& buffer, std::string_view bytes) {
  std::vector<std::string> lines;
  for (const char byte : bytes) {
    if (const auto line = buffer.feed(byte)) {
      lines.emplace_back(*line);
    }
  }
  return lines;
}

}  // namespace

TEST(crc_32_of_the_nine_digits) { CHECK(protocol::crc32("123456789") == 0xcbf43926); }

TEST(every_vector_is_read_as_written) {
  CHECK(vectors::all().size() > 50);
  for (const auto& [line, result, meaning] : vectors::all()) {
    const auto decoded = protocol::decode(line);
    if (result == "ok") {
      const auto* read = std::get_if<protocol::Line>(&decoded);
      CHECK(read != nullptr);
      if (read != nullptr) {
        CHECK(meaning::of(*read) == meaning);
        CHECK(protocol::encode(read->sequence, read->message).view() == line + '\n');
      }
    } else if (result == "broken") {
      CHECK(std::holds_alternative<protocol::Broken>(decoded));
    } else {
      const auto* refused = std::get_if<protocol::Refused>(&decoded);
      CHECK(refused != nullptr);
      CHECK(refused != nullptr && result == meaning::of(refused->reason));
    }
  }
}

TEST(what_does_not_fit_into_a_line_is_not_written) {
  protocol::Readings readings;
  readings.uptime_ms = 4294967295;
  readings.presses = 65535;
  readings.count = protocol::most_channels;
  readings.channels.fill({255, 65535, 65535});
  CHECK(protocol::encode(65535, readings).view().empty());
}

TEST(line_feeds_end_lines_and_empty_lines_are_left_out) {
  protocol::LineBuffer buffer;
  CHECK((lines_of(buffer, "\n\none\ntw") == std::vector<std::string>{"one"}));
  CHECK((lines_of(buffer, "o\n") == std::vector<std::string>{"two"}));
}

TEST(the_longest_line_is_kept_and_a_longer_one_is_dropped_up_to_its_end) {
  protocol::LineBuffer buffer;
  const std::string longest(protocol::longest_line, 'x');
  CHECK((lines_of(buffer, longest + "\n") == std::vector<std::string>{longest}));
  CHECK(lines_of(buffer, longest + "x\n").empty());
  CHECK((lines_of(buffer, longest + longest + longest + "\nnext\n") ==
         std::vector<std::string>{"next"}));
}

TEST(a_cleared_buffer_has_forgotten_what_began) {
  protocol::LineBuffer buffer;
  CHECK(lines_of(buffer, "garb").empty());
  buffer.clear();
  CHECK((lines_of(buffer, "age\n") == std::vector<std::string>{"age"}));
}
