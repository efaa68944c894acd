// SPDX-License-Identifier: Apache-2.0
#pragma once

struct TwoWire {
  bool begin(int, int) { return true; }
};

inline TwoWire Wire;
