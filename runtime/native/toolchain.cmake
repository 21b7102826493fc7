# zig as the C and C++ compiler, archiver and linker: everything comes from one PyPI wheel and no system compiler is used.
# Set by the caller: SOLOFILE_ZIG (the zig executable), SOLOFILE_ZIG_TARGET (for example x86_64-linux-gnu.2.17),
# SOLOFILE_SYSTEM_NAME and SOLOFILE_SYSTEM_PROCESSOR as CMake names them.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES SOLOFILE_ZIG SOLOFILE_ZIG_TARGET SOLOFILE_SYSTEM_NAME SOLOFILE_SYSTEM_PROCESSOR)

set(CMAKE_SYSTEM_NAME ${SOLOFILE_SYSTEM_NAME})
set(CMAKE_SYSTEM_PROCESSOR ${SOLOFILE_SYSTEM_PROCESSOR})

foreach(language C CXX)
    set(CMAKE_${language}_COMPILER ${SOLOFILE_ZIG})
    set(CMAKE_${language}_COMPILER_TARGET ${SOLOFILE_ZIG_TARGET})
    # CMake would call ar and ranlib by path; zig has them as subcommands.
    set(CMAKE_${language}_ARCHIVE_CREATE "\"${SOLOFILE_ZIG}\" ar qc <TARGET> <LINK_FLAGS> <OBJECTS>")
    set(CMAKE_${language}_ARCHIVE_APPEND "\"${SOLOFILE_ZIG}\" ar q <TARGET> <LINK_FLAGS> <OBJECTS>")
    set(CMAKE_${language}_ARCHIVE_FINISH "\"${SOLOFILE_ZIG}\" ranlib <TARGET>")
endforeach()
set(CMAKE_C_COMPILER_ARG1 "cc")
set(CMAKE_CXX_COMPILER_ARG1 "c++")

# Libraries of the build machine must never be found for the target.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
