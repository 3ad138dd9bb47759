# A container runs with the old runtime named nvidia, which loses its GPUs at a daemon-reload; CDI is off.
# from: ready

enter() {
    docker_settings '{"runtimes": {"nvidia": {"args": [], "path": "nvidia-container-runtime"}}}'
    tiny_image
    docker run -d --name site-llm --runtime nvidia -e NVIDIA_VISIBLE_DEVICES=all site/worker:1 > /dev/null
}

leave() {
    docker rm -f site-llm > /dev/null
    docker image rm site/worker:1 > /dev/null
    docker_settings '{"features": {"cdi": true}}'
}
