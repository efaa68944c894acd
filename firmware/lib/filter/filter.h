// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace filter {

// Conversions that one sample is the mean of.
constexpr std::size_t oversampling = 4;

// Median of the last five samples: a spike, as radio and motors make them, leaves no trace.
class Median {
 public:
  float add(float sample);

 private:
  std::array<float, 5> last_{};
  std::size_t next_ = 0;
  bool is_filled_ = false;
};

// Smooths a knob, one sample a millisecond, in counts of the converter.
//
// Exponential smoothing whose weight is 1/n for the n-th sample since the knob was last turned, down
// to 1/256: at first the plain mean of all samples, then a time constant of 256 ms. The knob
// counts as turned when the new samples, smoothed over 8 ms, lie off by more than `turn_counts`;
// then smoothing begins anew.
class Smoothing {
 public:
  float add(float sample);

 private:
  float smoothed_ = 0.0F;
  float deviation_ = 0.0F;
  float samples_ = 0.0F;
};

}  // namespace filter
