// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace button {

// Debounces a button and counts how often it was pressed, modulo 2^16.
class Button {
 public:
  // Takes the level once a millisecond. A level counts once it has lasted for `settle_ms`.
  void sample(bool is_down) {
    constexpr int settle_ms = 15;
    steady_ms_ = is_down == is_held_ ? 0 : steady_ms_ + 1;
    if (steady_ms_ == settle_ms) {
      is_held_ = is_down;
      steady_ms_ = 0;
      presses_ = static_cast<std::uint16_t>(presses_ + (is_held_ ? 1 : 0));
    }
  }

  bool is_held() const { return is_held_; }
  std::uint16_t presses() const { return presses_; }

 private:
  bool is_held_ = false;
  int steady_ms_ = 0;
  std::uint16_t presses_ = 0;
};

}  // namespace button
