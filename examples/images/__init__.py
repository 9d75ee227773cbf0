"""Images: small networks on MNIST and Fashion-MNIST, trained plainly, that accuracy is measured on."""
