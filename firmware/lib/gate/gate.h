// SPDX-License-Identifier: Apache-2.0
//
// When the one gate output is open. It rests at start; a window ends by this clock, whatever
// becomes of the computer. Times are uptimes: milliseconds modulo 2^32, that is 49.7 days, so they
// are compared by their difference alone.
#pragma once

#include <cstdint>

namespace gate {

enum class Timeliness { in_time, late, too_far_ahead };

// How `by_ms`, the uptime after which a command is void, stands to now.
Timeliness timeliness(std::uint32_t now_ms, std::uint32_t by_ms);

class Gate {
 public:
  // Open now, or begin anew. Rests by itself after `duration_ms`, and when heard() was not called
  // for `port` for `silence_ms`.
  void open(std::uint32_t now_ms, std::uint32_t duration_ms, std::uint32_t silence_ms,
            std::uint8_t port);

  void rest() { is_open_ = false; }

  // Something whole has come in on a port.
  void heard(std::uint32_t now_ms, std::uint8_t port);

  // End the window when it is over. Called every turn of the loop.
  void advance(std::uint32_t now_ms);

  bool is_open() const { return is_open_; }

  // Until the window ends, milliseconds; 0 at rest.
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
