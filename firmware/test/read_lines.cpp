// SPDX-License-Identifier: Apache-2.0
//
// Reads bytes from standard input. For each complete line it prints the size and CRC-32, and either the content or
// the reason for dropping it. benchmarks/protocol_fuzz.py compares this with the Python side.
#include <stdio.h>
#include <stdlib.h>

#include "crc32.h"
#include "line_buffer.h"
#include "meaning.h"
#include "protocol.h"

namespace {

std::string reading_of(std::string_view line) {
  const auto decoded = protocol::decode(line);
  if (const auto* refused = std::get_if<protocol::Refused>(&decoded)) {
    return std::string("- ") + meaning::of(refused->reason);
  }
  const auto* read = std::get_if<protocol::Line>(&decoded);
  if (read == nullptr) {
    return "- broken";
  }
  const auto again = protocol::encode(read->sequence, read->message);
  if (again.view() != std::string(line) + '\n') {
    return "not written again as it was read";
  }
  return meaning::of(*read);
}

}  // namespace

int main() {
  protocol::LineBuffer buffer;
  for (int byte = ::getchar(); byte != EOF; byte = ::getchar()) {
    if (const auto line = buffer.feed(static_cast<char>(byte))) {
      ::printf("%zu %08x %s\n", line->size(), protocol::crc32(*line), reading_of(*line).c_str());
    }
  }
  return 0;
}
