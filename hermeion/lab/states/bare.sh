# A fresh server as a provider hands it over: no driver, no Docker.

enter() { :; }

leave() { :; }
