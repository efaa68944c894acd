// SPDX-License-Identifier: Apache-2.0
//
// The firmware's filter as a program. Input: the conversions of one knob. Output: one line per millisecond with the
// raw and the smoothed value. benchmarks/knob_trace.py draws them.
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
