# The headers of the running kernel are installed already.

enter() {
    site_repository
    apt install "$(headers_package)"
    forget_site_repository
}

leave() { apt purge "$(headers_package)"; }
