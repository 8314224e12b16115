_: {
  one = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.control-plane = {
      enable = true;
      settings.plugin_dir = "/opt/plugins";
    };
    services.tepui.agent = {
      enable = true;
      settings = {
        launcher = "process";
        plugin_dir = "/opt/plugins";
      };
    };
  };
}
