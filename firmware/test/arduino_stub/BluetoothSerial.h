// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

#include "Arduino.h"

class BluetoothSerial : public StubPort {
 public:
  BluetoothSerial();
  bool begin(const char* name);
  bool hasClient() const { return has_client; }

  std::atomic<bool> has_client{false};
  std::string name;
};

namespace stub {

// The one that src/main.cpp made.
BluetoothSerial& bluetooth();

}  // namespace stub
