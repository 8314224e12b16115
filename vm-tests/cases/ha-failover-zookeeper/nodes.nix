{ timeFactor }:
import ../../nix/ensemble.nix {
  store = "zookeeper";
  names = [
    "alpha"
    "beta"
    "gamma"
  ];
  inherit timeFactor;
  facts.pause_seconds = 30;
}
