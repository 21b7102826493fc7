# zig as the compiler for macOS. What CMake takes from Xcode elsewhere is said here.
include(${CMAKE_CURRENT_LIST_DIR}/../toolchain.cmake)

set(CMAKE_OSX_SYSROOT "" CACHE STRING "" FORCE)
set(CMAKE_OSX_ARCHITECTURES "" CACHE STRING "" FORCE)
set(CMAKE_OSX_DEPLOYMENT_TARGET "" CACHE STRING "" FORCE) # it is part of SOLOFILE_ZIG_TARGET
set(CMAKE_INSTALL_NAME_TOOL ${SOLOFILE_ZIG}) # never run: libraries get their last rpath when they are linked
