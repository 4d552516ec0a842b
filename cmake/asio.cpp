// Asio's own code, compiled once for all rooms (BOOST_ASIO_SEPARATE_COMPILATION), and the home of the precompiled
// header that every room reuses (cmake/rooms.cmake).
#include <boost/asio/impl/src.hpp>
