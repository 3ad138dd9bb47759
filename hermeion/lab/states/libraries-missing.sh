# The module is loaded and nvidia-smi is there, but NVML's library is gone (nvidia-smi ends with 12).
# from: driver

enter() {
    for file in "$libraries"/libnvidia-ml.so*; do set_aside "$file"; done
    ldconfig
}

leave() {
    put_back "$libraries/libnvidia-ml.so"
    ldconfig
}
