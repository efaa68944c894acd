// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace scaling {

// Where a potentiometer's travel begins and ends, in counts of the 12-bit converter. Neither end of
// it is exact: the track has dead ends of about a hundredth, the ESP32 reads 0 below about 0.1 V,
// and noise is cut off at 0 and 4095, which draws a mean inwards.
constexpr float lowest_counts = 41.0F;
constexpr float highest_counts = 4054.0F;
constexpr float full_scale = 1000.0F;

// Counts to thousandths of the travel; below 0 and above 1000 in the end zones.
constexpr float steps(float counts) {
  return (counts - lowest_counts) * (full_scale / (highest_counts - lowest_counts));
}

// Rounds to whole steps, 0 to 1000. Once the knob has settled, the value is held until it is left
// by three quarters of a step (six deviations of what noise the filter leaves): what lies on the
// border of two steps would otherwise flicker.
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
