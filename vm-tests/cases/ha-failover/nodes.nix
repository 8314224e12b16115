{ timeFactor }:
import ../../nix/ensemble.nix {
  store = "etcd";
  names = [
    "alpha"
    "beta"
    "gamma"
  ];
  inherit timeFactor;
  leaseSeconds = 3;
  facts.pause_seconds = builtins.floor (6 * timeFactor);
}
