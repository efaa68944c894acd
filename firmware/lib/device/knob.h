// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>

#include "filter.h"
#include "protocol.h"
#include "scaling.h"

namespace device {

// Conversions of one potentiometer in one millisecond, 0 to 4095.
using Conversions = std::array<std::uint16_t, filter::oversampling>;

// One potentiometer: turns conversions into a value that is steady while nobody turns the knob.
class Knob {
 public:
  void add(const Conversions& conversions) {
    const auto sum = std::accumulate(conversions.begin(), conversions.end(), 0U);
    const float mean = static_cast<float>(sum) / static_cast<float>(conversions.size());
    const float counts = smoothing_.add(median_.add(mean));
    raw_ = std::min(conversions.back(), protocol::largest_raw);
    smoothed_ = hysteresis_.hold(scaling::steps(counts), smoothing_.is_settled());
  }

  std::uint16_t raw() const { return raw_; }
  std::uint16_t smoothed() const { return smoothed_; }

 private:
  filter::Median median_;
  filter::Smoothing smoothing_;
  scaling::Hysteresis hysteresis_;
  std::uint16_t raw_ = 0;
  std::uint16_t smoothed_ = 0;
};

}  // namespace device
