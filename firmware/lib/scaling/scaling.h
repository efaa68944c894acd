// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace scaling {

// The ends of a potentiometer's travel, in counts of the 12-bit converter. Neither end is exact:
// the track has dead ends of about one hundredth, the ESP32 reads 0 below about 0.1 V, and noise is
// cut off at 0 and 4095, which moves a mean inwards.
constexpr float lowest_counts = 41.0F;
constexpr float highest_counts = 4054.0F;
constexpr float full_scale = 1000.0F;

// Converts counts to thousandths of the travel; the end zones are below 0 and above 1000.
constexpr float steps(float counts) {
  return (counts - lowest_counts) * (full_scale / (highest_counts - lowest_counts));
}

// Rounds to whole steps, 0 to 1000. Once the knob has settled, the value is held until the position
// differs by three quarters of a step (six deviations of the remaining noise). Otherwise a position
// between two steps would flicker.
class Hysteresis {
 public:
  std::uint16_t hold(float value_steps, bool is_settled) {
    const float border_steps = is_settled ? 0.5F + 0.75F : 0.5F;
    if (std::fabs(value_steps - held_steps_) > border_steps) {
      held_steps_ = std::round(value_steps);
    }
    return static_cast<std::uint16_t>(std::clamp(held_steps_, 0.0F, full_scale));
  }

 private:
  float held_steps_ = 0.0F;
};

}  // namespace scaling
