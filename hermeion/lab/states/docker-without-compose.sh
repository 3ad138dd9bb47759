# Docker runs, and docker compose does not exist.
# from: ready

enter() { apt purge docker-compose; }

leave() { apt install --no-install-recommends docker-compose; }
