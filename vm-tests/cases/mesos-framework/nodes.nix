_: {
  one = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.control-plane.enable = true;
  };
  two = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.agent = {
      enable = true;
      settings.control_plane = [ "http://one:5052" ];
    };
  };
}
