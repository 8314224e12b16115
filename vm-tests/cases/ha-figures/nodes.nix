{ timeFactor }:
import ./hosts.nix {
  store = "etcd";
  inherit timeFactor;
}
