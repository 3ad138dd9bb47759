# Somebody's container runs in a Docker without live-restore and with CDI off: a restart would stop it.
# from: ready

enter() {
    docker_settings ''
    tiny_image
    docker run -d --name site-web site/worker:1 > /dev/null
}

leave() {
    docker rm -f site-web > /dev/null
    docker image rm site/worker:1 > /dev/null
    docker_settings '{"features": {"cdi": true}}'
}
