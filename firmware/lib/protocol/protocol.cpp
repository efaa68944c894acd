// SPDX-License-Identifier: Apache-2.0
#include "protocol.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "crc32.h"

namespace protocol {
namespace {

constexpr std::string_view version = "1";
constexpr std::size_t check_digits = 8;
// '$', '*' and the check around the body.
constexpr std::size_t frame = 2 + check_digits;
constexpr std::uint32_t largest_sequence = std::numeric_limits<std::uint16_t>::max();
constexpr std::uint32_t largest_uptime = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint32_t largest_version = 999;
constexpr std::array<std::string_view, 4> reasons = {"hi", "late", "range", "what"};

bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

bool may_stand_in_body(char byte) {
  return is_digit(byte) || (byte >= 'a' && byte <= 'z' && byte != 'j') || byte == ',';
}

bool is_check_digit(char byte) { return byte >= '0' && byte <= '?'; }

std::array<char, check_digits> check_of(std::string_view body) {
  std::uint32_t crc = crc32(body);
  std::array<char, check_digits> digits{};
  for (std::size_t at = check_digits; at-- > 0; crc >>= 4) {
    digits[at] = static_cast<char>('0' + (crc & 15));
  }
  return digits;
}

// Gives what is between '$' and '*', when form and check are right.
std::optional<std::string_view> body_of(std::string_view line) {
  if (line.size() <= frame || line.size() > longest_line || line.front() != '$') {
    return std::nullopt;
  }
  const std::string_view body = line.substr(1, line.size() - frame);
  const std::string_view digits = line.substr(line.size() - check_digits);
  const bool has_form = std::all_of(body.begin(), body.end(), may_stand_in_body) &&
                        line[1 + body.size()] == '*' &&
                        std::all_of(digits.begin(), digits.end(), is_check_digit);
  if (!has_form) {
    return std::nullopt;
  }
  const auto check = check_of(body);
  return std::equal(digits.begin(), digits.end(), check.begin()) ? std::optional(body)
                                                                 : std::nullopt;
}

std::optional<std::uint32_t> number_of(std::string_view text, std::uint32_t largest,
                                       std::uint32_t least = 0) {
  constexpr std::size_t most_digits = 10;
  const bool has_leading_zero = text.size() > 1 && text.front() == '0';
  if (text.empty() || text.size() > most_digits || has_leading_zero ||
      !std::all_of(text.begin(), text.end(), is_digit)) {
    return std::nullopt;
  }
  std::uint64_t value = 0;
  for (const char digit : text) {
    value = 10 * value + static_cast<std::uint64_t>(digit - '0');
  }
  if (value < least || value > largest) {
    return std::nullopt;
  }
  return static_cast<std::uint32_t>(value);
}

// Takes fields from the front of a text. A number out of range is noted and read as 0.
class Fields {
 public:
  explicit Fields(std::string_view text)
      : rest_(text), left_(1 + std::count(text.begin(), text.end(), ',')) {}

  auto left() const { return left_; }
  bool all_in_range() const { return all_in_range_; }

  std::string_view word() {
    const std::size_t end = std::min(rest_.find(','), rest_.size());
    const std::string_view field = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    --left_;
    return field;
  }

  std::uint32_t number(std::uint32_t largest, std::uint32_t least = 0) {
    const auto value = number_of(word(), largest, least);
    all_in_range_ = all_in_range_ && value.has_value();
    return value.value_or(0);
  }

  std::uint16_t small_number(std::uint16_t largest) {
    return static_cast<std::uint16_t>(number(largest));
  }

 private:
  std::string_view rest_;
  std::string_view::difference_type left_;
  bool all_in_range_ = true;
};

Hello hello_of(Fields& fields) {
  Hello hello;
  hello.uptime_ms = fields.number(largest_uptime);
  for (auto& part : hello.firmware) {
    part = fields.small_number(largest_version);
  }
  return hello;
}

Readings readings_of(Fields& fields) {
  Readings readings;
  readings.uptime_ms = fields.number(largest_uptime);
  readings.presses = fields.small_number(largest_sequence);
  readings.is_held = fields.number(1) == 1;
  while (fields.left() > 0) {
    Reading& reading = readings.channels[readings.count++];
    reading.channel = static_cast<std::uint8_t>(fields.number(255));
    reading.raw = fields.small_number(largest_raw);
    reading.smoothed = fields.small_number(largest_smoothed);
  }
  return readings;
}

std::optional<GateState> gate_state_of(Fields& fields) {
  GateState state;
  state.uptime_ms = fields.number(largest_uptime);
  state.answers = fields.small_number(largest_sequence);
  const std::string_view name = fields.word();
  if (name != "open" && name != "rest") {
    return std::nullopt;
  }
  state.is_open = name == "open";
  state.left_ms = fields.number(state.is_open ? longest_duration_ms : 0);
  return state;
}

std::optional<Refusal> refusal_of(Fields& fields) {
  Refusal refusal;
  refusal.uptime_ms = fields.number(largest_uptime);
  refusal.answers = fields.small_number(largest_sequence);
  const auto found = std::find(reasons.begin(), reasons.end(), fields.word());
  if (found == reasons.end()) {
    return std::nullopt;
  }
  refusal.reason = static_cast<Reason>(found - reasons.begin());
  return refusal;
}

Open open_of(Fields& fields) {
  Open open;
  open.duration_ms = fields.number(longest_duration_ms, 1);
  open.by_ms = fields.number(largest_uptime);
  open.silence_ms = fields.number(longest_duration_ms, 1);
  return open;
}

// The message of a line, or why it is refused.
std::variant<Reason, Message> message_of(std::string_view type, Fields& fields) {
  const auto count = fields.left();
  std::optional<Message> message;
  if (type == "hello" && count == 4) {
    message = hello_of(fields);
  } else if (type == "read" && count > 3 && count % 3 == 0) {
    if (count > 3 + 3 * static_cast<int>(most_channels)) {
      return Reason::range;
    }
    message = readings_of(fields);
  } else if (type == "gate" && count == 4) {
    message = gate_state_of(fields);
  } else if (type == "no" && count == 3) {
    message = refusal_of(fields);
  } else if (type == "hi" && count == 0) {
    message = Hi{};
  } else if (type == "open" && count == 3) {
    message = open_of(fields);
  } else if (type == "rest" && count == 0) {
    message = Rest{};
  } else if (type == "ask" && count == 0) {
    message = Ask{};
  }
  if (!message) {
    return Reason::what;
  }
  if (!fields.all_in_range()) {
    return Reason::range;
  }
  return *message;
}

// Writes a line from the front, and counts what no longer fits.
class Writer {
 public:
  explicit Writer(Encoded& line) : line_(line) {}

  bool is_too_long() const { return is_too_long_; }

  Writer& put(char byte) {
    if (line_.size == line_.bytes.size()) {
      is_too_long_ = true;
    } else {
      line_.bytes[line_.size++] = byte;
    }
    return *this;
  }

  Writer& put(std::string_view text) {
    for (const char byte : text) {
      put(byte);
    }
    return *this;
  }

  Writer& field(std::string_view text) { return put(',').put(text); }

  Writer& field(std::uint32_t number) {
    std::array<char, 10> digits{};
    std::size_t count = 0;
    do {
      digits[count++] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number > 0);
    put(',');
    while (count > 0) {
      put(digits[--count]);
    }
    return *this;
  }

 private:
  Encoded& line_;
  bool is_too_long_ = false;
};

struct FieldsInto {
  Writer& writer;

  void operator()(const Hello& hello) const {
    writer.field("hello").field(hello.uptime_ms);
    for (const auto part : hello.firmware) {
      writer.field(part);
    }
  }

  void operator()(const Readings& readings) const {
    writer.field("read").field(readings.uptime_ms).field(readings.presses);
    writer.field(readings.is_held ? 1U : 0U);
    for (std::size_t at = 0; at < readings.count && at < most_channels; ++at) {
      const Reading& reading = readings.channels[at];
      writer.field(reading.channel).field(reading.raw).field(reading.smoothed);
    }
  }

  void operator()(const GateState& state) const {
    writer.field("gate").field(state.uptime_ms).field(state.answers);
    writer.field(state.is_open ? "open" : "rest").field(state.is_open ? state.left_ms : 0U);
  }

  void operator()(const Refusal& refusal) const {
    writer.field("no").field(refusal.uptime_ms).field(refusal.answers);
    writer.field(reasons[static_cast<std::size_t>(refusal.reason)]);
  }

  void operator()(const Hi&) const { writer.field("hi"); }

  void operator()(const Open& open) const {
    writer.field("open").field(open.duration_ms).field(open.by_ms).field(open.silence_ms);
  }

  void operator()(const Rest&) const { writer.field("rest"); }

  void operator()(const Ask&) const { writer.field("ask"); }
};

}  // namespace

Decoded decode(std::string_view line) {
  const auto body = body_of(line);
  if (!body) {
    return Broken{};
  }
  constexpr int fewest_fields = 3;
  Fields fields(*body);
  if (fields.left() < fewest_fields || fields.word() != version) {
    return Broken{};
  }
  const auto sequence = number_of(fields.word(), largest_sequence);
  if (!sequence) {
    return Broken{};
  }
  const auto number = static_cast<std::uint16_t>(*sequence);
  const std::string_view type = fields.word();
  const auto message = message_of(type, fields);
  if (const auto* reason = std::get_if<Reason>(&message)) {
    return Refused{number, *reason};
  }
  return Line{number, *std::get_if<Message>(&message)};
}

Encoded encode(std::uint16_t sequence, const Message& message) {
  Encoded line;
  Writer writer(line);
  writer.put('$').put(version).field(sequence);
  std::visit(FieldsInto{writer}, message);
  const auto check = check_of(line.view().substr(1));
  writer.put('*').put(std::string_view(check.data(), check.size())).put('\n');
  if (writer.is_too_long()) {
    line.size = 0;
  }
  return line;
}

}  // namespace protocol
