# Writes OUT: a C array of the shipped configuration files, for the machine where there is no other.
# Arguments: -DOUT=file.c "-DFILES=a.yaml;b.yaml"
set(text "/* Generated from conf/ by proxy/conf/embed.cmake. */\n#include \"conf/files.h\"\n\n")
set(table "")
set(count 0)
foreach(file ${FILES})
  get_filename_component(name ${file} NAME)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REPLACE "0x0a," "0x0a,\n" bytes "${bytes}") # a line for a line
  string(APPEND text "static const unsigned char file_${count}[] = {\n${bytes}0};\n\n")
  string(APPEND table "    {\"${name}\", (const char *)file_${count}, sizeof file_${count} - 1},\n")
  math(EXPR count "${count} + 1")
endforeach()
string(APPEND text "const struct shipped_file shipped_files[] = {\n${table}};\nconst unsigned n_shipped_files = ${count};\n")
file(WRITE ${OUT} "${text}")
