// SPDX-License-Identifier: Apache-2.0
//
// Turns noisy conversions into the position of a knob. The figures below are for noise of 20 counts
// (standard deviation of one conversion of 4096), several times the noise of an ESP32 with a
// capacitor at its pin. 4 counts are about one step of 1000. test/test_knob.cpp checks them.
#pragma once

#include <array>
#include <cstddef>

namespace filter {

// Number of conversions averaged into one sample: 20 counts become 10. Two knobs need eight
// conversions a millisecond, 85 us each with analogRead() of Arduino core 2.
constexpr std::size_t oversampling = 4;

// Median of the last five samples. A spike from a radio or motor leaves no trace; an edge comes two
// samples late.
class Median {
 public:
  float add(float sample);

 private:
  std::array<float, 5> last_{};
  std::size_t next_ = 0;
  bool is_filled_ = false;
};

// Exponential smoothing with one sample a millisecond. The n-th sample since the last turn of the
// knob has the weight 1/n, down to 1/256: at first this is the mean of all samples, later a time
// constant of 256 ms. After the median, 10 counts of noise become 0.5 counts (0.12 steps).
//
// The knob is being turned when new samples, smoothed with 1/32, differ by `turn_counts`. At rest
// that mean stays within 1.4 counts (standard deviation), so noise would need 7.3 deviations to
// look like a turn, which does not happen in years. An edge of more than 320 counts is seen at its
// first sample; the smallest turn, 2.5 steps, is seen in about 100 ms.
class Smoothing {
 public:
  float add(float sample);

  // Tells whether nobody has turned the knob for 256 ms.
  bool is_settled() const;

 private:
  float smoothed_ = 0.0F;
  float deviation_ = 0.0F;
  float samples_ = 0.0F;
};

}  // namespace filter
