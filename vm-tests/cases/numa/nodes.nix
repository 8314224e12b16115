_: {
  one = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.control-plane.enable = true;
    services.tepui.agent = {
      enable = true;
      settings.plugin_dir = "/opt/plugins";
    };
  };
}
