// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "Arduino.h"

constexpr std::uint8_t u8x8_font_chroma48medium8_r[1] = {0};

class U8X8_SSD1306_128X64_NONAME_HW_I2C {
 public:
  void setBusClock(std::uint32_t) {}
  bool begin() { return true; }
  void setFont(const std::uint8_t*) {}
  void drawGlyph(std::uint8_t, std::uint8_t, std::uint8_t) { ++stub::pins.glyphs; }
};
