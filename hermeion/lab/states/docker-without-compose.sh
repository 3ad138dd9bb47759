# Docker runs, and docker compose does not exist.
# from: docker

enter() { apt purge docker-compose; }

leave() { apt install --no-install-recommends docker-compose; }
