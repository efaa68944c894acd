// SPDX-License-Identifier: Apache-2.0
#include "filter.h"

#include <algorithm>
#include <cmath>

namespace filter {
namespace {

constexpr float most_samples = 256.0F;
constexpr float deviation_weight = 1.0F / 32.0F;
constexpr float turn_counts = 10.0F;

}  // namespace

float Median::add(float sample) {
  if (!is_filled_) {
    last_.fill(sample);
    is_filled_ = true;
  }
  last_[next_] = sample;
  next_ = (next_ + 1) % last_.size();
  auto sorted = last_;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  return sorted[sorted.size() / 2];
}

float Smoothing::add(float sample) {
  deviation_ += deviation_weight * (sample - smoothed_ - deviation_);
  if (samples_ == 0.0F || std::fabs(deviation_) > turn_counts) {
    samples_ = 0.0F;
    smoothed_ = sample;
    deviation_ = 0.0F;
  }
  samples_ = std::min(samples_ + 1.0F, most_samples);
  smoothed_ += (sample - smoothed_) / samples_;
  return smoothed_;
}

bool Smoothing::is_settled() const { return samples_ == most_samples; }

}  // namespace filter
