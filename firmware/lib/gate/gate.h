// SPDX-License-Identifier: Apache-2.0
//
// Decides when the one gate output is open. The gate rests at start. A window ends by this clock,
// whatever happens to the computer. Times are uptimes in milliseconds modulo 2^32 (49.7 days), so
// only their differences are compared.
#pragma once

#include <cstdint>

namespace gate {

enum class Timeliness { in_time, late, too_far_ahead };

// Where `by_ms`, the uptime after which a command is void, lies relative to now.
Timeliness timeliness(std::uint32_t now_ms, std::uint32_t by_ms);

class Gate {
 public:
  // Opens now, or starts a new window. The gate rests by itself after `duration_ms`, or when
  // heard() was not called for `port` for `silence_ms`.
  void open(std::uint32_t now_ms, std::uint32_t duration_ms, std::uint32_t silence_ms,
            std::uint8_t port);

  void rest() { is_open_ = false; }

  // A valid line has come in on a port.
  void heard(std::uint32_t now_ms, std::uint8_t port);

  // Ends the window when it is over. Call it in every turn of the loop.
  void advance(std::uint32_t now_ms);

  bool is_open() const { return is_open_; }

  // Time until the window ends, milliseconds; 0 at rest.
  std::uint32_t left_ms(std::uint32_t now_ms) const;

 private:
  bool is_open_ = false;
  std::uint8_t port_ = 0;
  std::uint32_t opened_ms_ = 0;
  std::uint32_t heard_ms_ = 0;
  std::uint32_t duration_ms_ = 0;
  std::uint32_t silence_ms_ = 0;
};

}  // namespace gate
