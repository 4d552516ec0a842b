# cmake -DFOLDER=migrations -DOUT=embedded.cpp -P embed_sql.cmake: the migrations as C++ string literals.
file(GLOB paths ${FOLDER}/[0-9][0-9][0-9][0-9]_*.sql)
list(SORT paths)
set(entries "")
foreach(path ${paths})
  get_filename_component(stem ${path} NAME_WE)
  string(SUBSTRING ${stem} 0 4 version)
  string(REGEX REPLACE "^0+" "" version ${version})
  string(SUBSTRING ${stem} 5 -1 name)
  file(READ ${path} sql)
  string(APPEND entries "    {${version}, \"${name}\", R\"citadel_sql(${sql})citadel_sql\"},\n")
endforeach()
file(WRITE ${OUT} "// Made from migrations/*.sql by cmake/embed_sql.cmake.
#include \"store/migrations.hpp\"

namespace citadel::store {

std::span<const Migration> embedded_migrations() {
  static constexpr Migration migrations[] = {
${entries}  };
  return migrations;
}

}  // namespace citadel::store
")
