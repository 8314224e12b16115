_: {
  one = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.control-plane.enable = true;
    services.tepui.agent.enable = true;
  };
}
