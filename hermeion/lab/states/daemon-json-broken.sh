# daemon.json is not JSON; Docker runs with what it read before.
# from: ready

enter() { printf '{"log-driver": "json-file",\n' > /etc/docker/daemon.json; }

leave() { printf '{"features": {"cdi": true}}\n' > /etc/docker/daemon.json; }
