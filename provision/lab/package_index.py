"""The index that makes a folder of packages a source of apt."""

#: Shell: `write_index` writes it for the packages in the current folder.
WRITE_INDEX = """
write_index() {
    for file in *.deb; do
        dpkg-deb --field "$file"
        printf 'Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n' \\
            "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d ' ' -f 1)"
    done >Packages
}
"""
