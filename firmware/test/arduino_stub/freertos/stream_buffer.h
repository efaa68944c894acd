// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>

#include "FreeRTOS.h"

struct StubStreamBuffer {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::uint8_t> bytes;
  std::size_t capacity;
};
using StreamBufferHandle_t = StubStreamBuffer*;

inline StreamBufferHandle_t xStreamBufferCreate(std::size_t capacity, std::size_t) {
  auto* buffer = new StubStreamBuffer;
  buffer->capacity = capacity;
  return buffer;
}

inline std::size_t xStreamBufferSend(StreamBufferHandle_t buffer, const void* data,
                                     std::size_t count, TickType_t ticks) {
  const std::lock_guard lock(buffer->mutex);
  (void)ticks;
  const std::size_t taken = std::min(count, buffer->capacity - buffer->bytes.size());
  const auto* begin = static_cast<const std::uint8_t*>(data);
  buffer->bytes.insert(buffer->bytes.end(), begin, begin + taken);
  buffer->changed.notify_all();
  return taken;
}

inline std::size_t xStreamBufferReceive(StreamBufferHandle_t buffer, void* data,
                                        std::size_t count, TickType_t ticks) {
  std::unique_lock lock(buffer->mutex);
  buffer->changed.wait_for(lock, std::chrono::milliseconds(ticks),
                           [&] { return !buffer->bytes.empty(); });
  const std::size_t taken = std::min(count, buffer->bytes.size());
  const auto end = buffer->bytes.begin() + static_cast<std::ptrdiff_t>(taken);
  std::copy(buffer->bytes.begin(), end, static_cast<std::uint8_t*>(data));
  buffer->bytes.erase(buffer->bytes.begin(), end);
  return taken;
}
