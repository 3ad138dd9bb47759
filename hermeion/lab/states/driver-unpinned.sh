# Driver 580.178.04 is healthy, and the next upgrade would take 590.48.01: the repository has no pin.
# from: driver

enter() { site_repository; }

leave() { forget_site_repository; }
