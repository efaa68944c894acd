// SPDX-License-Identifier: Apache-2.0
//
// From noisy conversions to a knob's place. The figures below are for noise of 20 counts (standard
// deviation of one conversion of 4096), several times what an ESP32 with a capacitor at its pin
// shows; 4 counts are about one step of 1000. Held by test/test_knob.cpp.
#pragma once

#include <array>
#include <cstddef>

namespace filter {

// Conversions that one sample is the mean of: 20 counts become 10. For two knobs that is eight
// conversions a millisecond, of 85 us each with analogRead() of Arduino core 2.
constexpr std::size_t oversampling = 4;

// Median of the last five samples: a spike, as radio and motors make them, leaves no trace, and an
// edge comes two samples late.
class Median {
 public:
  float add(float sample);

 private:
  std::array<float, 5> last_{};
  std::size_t next_ = 0;
  bool is_filled_ = false;
};

// Exponential smoothing, one sample a millisecond, whose weight is 1/n for the n-th sample since
// the knob was turned, down to 1/256: first the plain mean of all samples, then a time constant of
// 256 ms. What is left of 10 counts, behind the median, is 0.5 counts (0.12 steps).
//
// The knob is being turned when new samples lie off by `turn_counts`, smoothed themselves with
// 1/32. At rest that mean is within 1.4 counts (standard deviation), so noise alone passes for a
// turn at 7.3 deviations: not in years. An edge of more than 320 counts is seen at its first
// sample, the smallest turn, 2.5 steps, in some 100 ms.
class Smoothing {
 public:
  float add(float sample);

  // Whether nobody has turned the knob for 256 ms.
  bool is_settled() const;

 private:
  float smoothed_ = 0.0F;
  float deviation_ = 0.0F;
  float samples_ = 0.0F;
};

}  // namespace filter
