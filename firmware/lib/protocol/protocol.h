// SPDX-License-Identifier: Apache-2.0
//
// Encodes and decodes the lines that computer and ESP32 exchange, see docs/protocol.md.
// anomaly_inspection/link/protocol.py does the same; test/protocol_vectors.tsv tests both.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

namespace protocol {

// Bytes of the longest line, without its line feed.
constexpr std::size_t longest_line = 96;
constexpr std::size_t most_channels = 4;
constexpr std::uint32_t longest_duration_ms = 60'000;
constexpr std::uint16_t largest_raw = 4095;
constexpr std::uint16_t largest_smoothed = 1000;

// The device has started, or answers Hi.
struct Hello {
  std::uint32_t uptime_ms = 0;
  std::array<std::uint16_t, 3> firmware{};
};

struct Reading {
  std::uint8_t channel = 0;
  std::uint16_t raw = 0;
  std::uint16_t smoothed = 0;
};

// What the device reads; only the first `count` of `channels` are valid.
struct Readings {
  std::uint32_t uptime_ms = 0;
  std::uint16_t presses = 0;
  bool is_held = false;
  std::uint8_t count = 0;
  std::array<Reading, most_channels> channels{};
};

// The state of the gate, as the answer to a command.
struct GateState {
  std::uint32_t uptime_ms = 0;
  std::uint16_t answers = 0;
  bool is_open = false;
  std::uint32_t left_ms = 0;
};

enum class Reason : std::uint8_t { hi, late, range, what };

// The device refuses a command.
struct Refusal {
  std::uint32_t uptime_ms = 0;
  std::uint16_t answers = 0;
  Reason reason = Reason::what;
};

// The first line of the computer after connecting.
struct Hi {};

// Open the gate for `duration_ms`, but not after the uptime `by_ms`; rest when the computer sends
// nothing for `silence_ms`.
struct Open {
  std::uint32_t duration_ms = 0;
  std::uint32_t by_ms = 0;
  std::uint32_t silence_ms = 0;
};

// Bring the gate to rest.
struct Rest {};

// Ask for the state of the gate.
struct Ask {};

using Message = std::variant<Hello, Readings, GateState, Refusal, Hi, Open, Rest, Ask>;

// A valid line.
struct Line {
  std::uint16_t sequence = 0;
  Message message;
};

// The check is right, but it is no message: a number is out of range, or the type is unknown.
struct Refused {
  std::uint16_t sequence = 0;
  Reason reason = Reason::what;
};

// Damaged, or not a line of this protocol.
struct Broken {};

using Decoded = std::variant<Broken, Refused, Line>;

// Decode a line, given without its line feed.
Decoded decode(std::string_view line);

// A line as bytes, its line feed included.
struct Encoded {
  std::array<char, longest_line + 1> bytes{};
  std::size_t size = 0;

  std::string_view view() const { return {bytes.data(), size}; }
};

// Encode a line. Numbers must be in their ranges; a line that would be too long comes back empty.
Encoded encode(std::uint16_t sequence, const Message& message);

}  // namespace protocol
