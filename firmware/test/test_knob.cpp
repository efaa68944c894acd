// SPDX-License-Identifier: Apache-2.0
//
// What the value of a knob promises, tested on a simulated converter: 12 bits, noise of 20 counts.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "check.h"
#include "knob.h"

namespace {

constexpr double noise_counts = 20.0;

class Converter {
 public:
  explicit Converter(unsigned seed) : random_(seed) {}

  device::Conversions at(double counts) {
    device::Conversions conversions{};
    for (auto& conversion : conversions) {
      const double value = std::round(counts + noise_(random_));
      conversion = static_cast<std::uint16_t>(std::clamp(value, 0.0, 4095.0));
    }
    return conversions;
  }

 private:
  std::mt19937 random_;
  std::normal_distribution<double> noise_{0.0, noise_counts};
};

// Consecutive values, one per millisecond.
std::vector<int> values(device::Knob& knob, Converter& converter, double counts, int duration_ms) {
  std::vector<int> found;
  for (int at = 0; at < duration_ms; ++at) {
    knob.add(converter.at(counts));
    found.push_back(knob.smoothed());
  }
  return found;
}

double expected(double counts) {
  return std::clamp(static_cast<double>(scaling::steps(static_cast<float>(counts))), 0.0, 1000.0);
}

}  // namespace

TEST(a_still_knob_gives_a_still_value_for_a_minute) {
  constexpr int runs = 200;
  int moved = 0;
  int moved_by_more_than_one = 0;
  for (int run = 0; run < runs; ++run) {
    const double counts = 4095.0 * run / (runs - 1);
    device::Knob knob;
    Converter converter(static_cast<unsigned>(1 + run));
    values(knob, converter, counts, 500);
    const auto still = values(knob, converter, counts, 60'000);
    const auto [least, largest] = std::minmax_element(still.begin(), still.end());
    moved += *largest - *least > 0 ? 1 : 0;
    moved_by_more_than_one += *largest - *least > 1 ? 1 : 0;
    CHECK(std::fabs(still.back() - expected(counts)) <= 1.5);
  }
  std::printf("still: %d places, 60 s each: %d moved by a step, %d by more\n", runs, moved,
              moved_by_more_than_one);
  CHECK(moved_by_more_than_one == 0);
  CHECK(moved <= runs / 50);
}

TEST(a_value_on_the_border_of_two_steps_stands_still) {
  for (int run = 0; run < 40; ++run) {
    const double counts = 41.0 + 4.013 * (20 + 24 * run + 0.5);
    device::Knob knob;
    Converter converter(static_cast<unsigned>(1000 + run));
    values(knob, converter, counts, 500);
    const auto still = values(knob, converter, counts, 60'000);
    const auto [least, largest] = std::minmax_element(still.begin(), still.end());
    CHECK(*largest - *least <= 1);
  }
}

TEST(a_quick_turn_arrives_within_100_ms) {
  // Readings are sent every 20 ms, so the value itself has 80.
  constexpr std::size_t within_ms = 80;
  std::mt19937 random(7);
  std::uniform_real_distribution<double> anywhere(0.0, 4095.0);
  std::size_t slowest_ms = 0;
  for (unsigned run = 0; run < 2000; ++run) {
    const double whole_turn[] = {0.0, 4095.0};
    const double from = run % 2 == 0 ? whole_turn[run / 2 % 2] : anywhere(random);
    const double to = run % 2 == 0 ? 4095.0 - from : anywhere(random);
    device::Knob knob;
    Converter converter(run);
    values(knob, converter, from, 1000);
    const auto after = values(knob, converter, to, 500);
    for (std::size_t at = 0; at < after.size(); ++at) {
      // Within 1 % of the final position; exact at the ends of the travel.
      const bool has_arrived = run % 2 == 0 ? after[at] == expected(to)
                                            : std::fabs(after[at] - expected(to)) <= 10;
      slowest_ms = has_arrived ? slowest_ms : std::max(slowest_ms, at + 1);
    }
    CHECK(std::fabs(after.back() - expected(to)) <= 1.75);
  }
  std::printf("turn: 2000 turns, the slowest arrived after %zu ms\n", slowest_ms + 1);
  CHECK(slowest_ms < within_ms);
}

TEST(a_turn_within_50_ms_by_hand_arrives_as_well) {
  for (unsigned run = 0; run < 200; ++run) {
    device::Knob knob;
    Converter converter(run);
    values(knob, converter, 300.0, 1000);
    for (int at = 0; at < 50; ++at) {
      knob.add(converter.at(300.0 + (3500.0 - 300.0) * at / 50));
    }
    const auto after = values(knob, converter, 3500.0, 50);
    CHECK(std::fabs(after.back() - expected(3500.0)) <= 3.0);
  }
}

TEST(a_slow_turn_is_followed) {
  device::Knob knob;
  Converter converter(3);
  values(knob, converter, 1000.0, 500);
  for (int at = 0; at < 20'000; ++at) {
    const double counts = 1000.0 + 0.1 * at;
    knob.add(converter.at(counts));
    CHECK(std::fabs(knob.smoothed() - expected(counts)) <= 8.0);
  }
}

TEST(a_spike_leaves_no_trace) {
  device::Knob knob;
  Converter converter(4);
  const int before = values(knob, converter, 2000.0, 1000).back();
  for (int spike = 0; spike < 100; ++spike) {
    device::Conversions wild{};
    wild.fill(spike % 2 == 0 ? 4095 : 0);
    knob.add(wild);
    knob.add(wild);
    const auto after = values(knob, converter, 2000.0, 50);
    CHECK(*std::min_element(after.begin(), after.end()) == before);
    CHECK(*std::max_element(after.begin(), after.end()) == before);
  }
}

TEST(both_ends_are_reached) {
  for (const auto& [counts, value] : {std::pair{0.0, 0}, std::pair{30.0, 0},
                                      std::pair{4065.0, 1000}, std::pair{4095.0, 1000}}) {
    device::Knob knob;
    Converter converter(5);
    values(knob, converter, 2000.0, 300);
    CHECK(values(knob, converter, counts, 600).back() == value);
  }
}
