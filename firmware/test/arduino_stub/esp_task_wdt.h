// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "Arduino.h"

inline int esp_task_wdt_init(std::uint32_t timeout_s, bool) {
  stub::pins.watchdog_s = static_cast<int>(timeout_s);
  return 0;
}
inline int esp_task_wdt_add(void*) { return 0; }
inline int esp_task_wdt_reset() { return ++stub::pins.watchdog_feeds, 0; }
