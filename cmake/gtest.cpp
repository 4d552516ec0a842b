// Carries the precompiled header of the tests: see rooms.cmake.
