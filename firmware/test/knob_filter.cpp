// SPDX-License-Identifier: Apache-2.0
//
// The firmware's filter as a program: conversions of one knob in, as many a line as a millisecond brings; its raw
// and its smoothed value out. benchmarks/knob_trace.py draws them.
#include <iostream>

#include "knob.h"

int main() {
  device::Knob knob;
  device::Conversions conversions{};
  for (;;) {
    for (auto& conversion : conversions) {
      std::cin >> conversion;
    }
    if (!std::cin) {
      return 0;
    }
    knob.add(conversions);
    std::cout << knob.raw() << ' ' << knob.smoothed() << '\n';
  }
}
