# Somebody else's Docker and Compose run; CDI is as Debian left it.
# keep: yes

enter() { install_docker; }

leave() { remove_docker; }
