# daemon.json has a list where Docker wants an object of runtimes.
# from: ready

enter() { printf '{"runtimes": ["nvidia"]}\n' > /etc/docker/daemon.json; }

leave() { printf '{"features": {"cdi": true}}\n' > /etc/docker/daemon.json; }
