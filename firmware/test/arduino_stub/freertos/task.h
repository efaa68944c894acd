// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <thread>

#include "FreeRTOS.h"

// The task goes on until the process ends.
inline int xTaskCreatePinnedToCore(void (*task)(void*), const char*, std::uint32_t, void* argument,
                                   unsigned, void*, int) {
  std::thread(task, argument).detach();
  return 1;
}
