// SPDX-License-Identifier: Apache-2.0
//
// The pins of an ESP32 devkit, and what platformio.ini chooses. The pins of the potentiometers are their channels in
// the protocol, so they are in lib/device/device.h.
//
// Do not use 0, 2, 5, 12 and 15 (strapping pins: their level at reset chooses how the chip starts), 6 to 11 (flash),
// 1 and 3 (USB). Pin 14 outputs pulses during start, so it is not suitable for a gate either.
#pragma once

#include <cstdint>

#ifndef BOARD_GATE
#define BOARD_GATE servo
#endif
#ifndef BOARD_DISPLAY
#define BOARD_DISPLAY false
#endif

namespace board {

enum class GateKind { servo, relay };

constexpr GateKind gate_kind = GateKind::BOARD_GATE;
constexpr bool has_display = BOARD_DISPLAY;

// Connects to ground when pressed; the pull-up is internal.
constexpr std::uint8_t button_pin = 27;

constexpr std::uint8_t lamp_pin = 26;

// High, or the pulse to open, opens the gate. Until setup() runs, and after every reset, this pin floats; 10 kOhm to
// ground hold it at rest.
constexpr std::uint8_t gate_pin = 25;

// A servo takes a pulse of 1 to 2 ms every 20 ms. Rest is REJECT; the mechanics decide which end that is.
constexpr std::uint32_t servo_period_us = 20'000;
constexpr std::uint32_t servo_rest_us = 1'000;
constexpr std::uint32_t servo_open_us = 2'000;

// SSD1306, 128 x 64.
constexpr std::uint8_t display_clock_pin = 22;
constexpr std::uint8_t display_data_pin = 21;

constexpr char bluetooth_name[] = "ESP32Bluetooth";

}  // namespace board
