# daemon.json is not JSON; Docker runs with what it read before.
# from: docker

enter() { printf '{"log-driver": "json-file",\n' > /etc/docker/daemon.json; }

leave() { rm -f /etc/docker/daemon.json; }
