{ timeFactor }:
import ../ha-figures/hosts.nix {
  store = "zookeeper";
  inherit timeFactor;
}
