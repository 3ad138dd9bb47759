# The host runs DGX OS, which has tools of its own for its driver.
# gpus: 8xH100-SXM

enter() {
    cat > /etc/dgx-release <<'END'
DGX_NAME="DGX Server"
DGX_PRETTY_NAME="NVIDIA DGX Server"
DGX_SWBUILD_VERSION="6.2.0"
DGX_PLATFORM="DGX Server for DGX H100"
END
}

leave() { rm -f /etc/dgx-release; }
